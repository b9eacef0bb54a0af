"""What a store holds, as text, as a page and as pictures."""
