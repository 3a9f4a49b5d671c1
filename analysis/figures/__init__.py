"""What do the results of an analysis look like?"""
