"""The two daemons: the party node beside a company's database and the blind coordinator."""
