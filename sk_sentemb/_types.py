"""Types that several folders share."""

# A text to encode, or two texts that a cross-encoder reads together.
Text = str | tuple[str, str]
