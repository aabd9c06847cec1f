"""HOW LONG a component will last: features, estimators of remaining useful life, fallbacks and their honesty."""
