"""What a posted event must look like and what becomes of it: pure, without clock or network."""
