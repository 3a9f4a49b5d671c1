"""What is inside the layers of a speech model?"""
