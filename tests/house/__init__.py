"""The contracts of the house itself: who may import whom, what files may say, what the documents promise."""
