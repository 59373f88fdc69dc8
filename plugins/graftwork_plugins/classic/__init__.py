"""What the readers of the classic data sets share."""
