"""`tools/run calibrate`: scores that mean what they say, and thresholds for a stated rate of false alerts."""
