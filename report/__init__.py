"""What did all runs find, and how sure is it?"""
