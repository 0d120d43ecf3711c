"""What a review has come to: what was changed, charts and alarms, and the data set for the next version."""
