"""Pages: what was found, as one HTML file that needs nothing else, neither a network nor a server."""
