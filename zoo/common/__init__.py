"""What all rooms use: files, text, numbers, pixels. It imports no other room."""
