"""Units of work: the sessions that one handler call uses, saved together or not at all."""
