"""The stories: one file per flow; its body reads from top to bottom as what happens."""
