"""The command line: parses flags, calls the library, prints, and turns errors into exit codes."""
