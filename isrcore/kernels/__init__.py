"""Operations on pixels: their data, their meaning, and executors that run them."""
