"""Other hosts: the inventory, the way there by SSH, and our own code on their side."""
