"""Training of language models: from raw text, and tuned to a task of text."""
