"""Acts: the only floor that does things. It tells facts, carries conversations, and does what is due."""
