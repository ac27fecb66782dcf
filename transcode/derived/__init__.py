"""Playable copies made once by confined children: remuxes and proxies."""
