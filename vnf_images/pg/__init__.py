"""Mobile packet gateway: tags what goes to a subscriber with the cell the subscriber is in (paper, section VI-C)."""
