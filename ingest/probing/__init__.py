"""What is in a file: asked of confined children, judged by pure checks of structure."""
