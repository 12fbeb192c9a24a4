"""Preparation in stages that are kept: documents, cleaned documents, encoded documents.

Each stage is a folder of numbered shards in the cache, named by the hash of all that made it: a
changed step finds the stages before it as they are and redoes what follows, a build that was cut
goes on where it was, and two builds at once make the same shards and find each other's.
"""
