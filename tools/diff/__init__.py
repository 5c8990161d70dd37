"""`tools/run diff`: what changes if the artifact, the questions or the precision change, on the same recordings."""
