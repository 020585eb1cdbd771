"""The stages of a run: teachers, networks on labels alone, chains, peers and the student, one after another."""
