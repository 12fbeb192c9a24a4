"""What a corpus is made of: sizes, copies, languages, words, people's data, terms of use."""
