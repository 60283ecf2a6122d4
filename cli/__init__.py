"""The command line: shapes arguments, calls the verbs, tells of progress; no logic of its own."""
