"""Training data: corpus, sampler, random numbers, clips, augmentation, pairs and labelled batches."""
