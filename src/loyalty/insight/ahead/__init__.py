"""What comes: forecasts of what happens by itself, and plans of what a change would do."""
