"""Operations turned into Python functions over the hot graph."""
