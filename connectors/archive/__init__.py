"""The archive: write-once segments and manifests in a directory, verified without the database."""
