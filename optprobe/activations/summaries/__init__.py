"""What is kept of values instead of them: moments and statistics, accumulated and read again."""
