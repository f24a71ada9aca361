"""Units of work: entries, blocks, commits, figures, and the functions that control a unit."""
