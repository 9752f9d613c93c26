"""What can be told of sealed pictures by looking at them: suspects, near-duplicates, scores; kept beside the parts."""
