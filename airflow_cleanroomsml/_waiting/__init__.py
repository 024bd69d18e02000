"""One wait, from the first poll to the result."""
