"""Downloads from ModelScope's hub."""
