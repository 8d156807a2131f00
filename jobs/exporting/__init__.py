"""Export: entries to a file that a regulator can read, with a manifest, and an entry that says who took it."""
