"""Bad corpora, labels, texts, lists and Kaldi files, a module for each kind: cases, and the files they need."""
