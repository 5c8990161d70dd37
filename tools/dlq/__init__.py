"""Dead letters: what lies on the topic of unusable records, and publishing them again."""
