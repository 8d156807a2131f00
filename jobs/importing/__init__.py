"""Lists that a customer brings: files read row by row, columns told by name, each row taken or refused by itself."""
