"""`tools/run evaluate`: recorded videos whose truth is known, judged event by event and frame by frame."""
