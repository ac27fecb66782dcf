"""Pictures from sealed originals: virtual fragmented MP4, remuxes and proxies. Never changes an original."""
