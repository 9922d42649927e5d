"""What the commands are made of: parsing, errors, trust, run directory, loggers."""
