"""How Django writes times where no page has chosen: the console shows UTC, day first, to the second."""

DATETIME_FORMAT = "j\u00a0M\u00a0Y, H:i:s\u00a0\\U\\T\\C"  # breaks only between day and time
DATE_FORMAT = "j M Y"
