"""What holds for every test."""

from hypothesis import settings

# A busy machine is not a failure: whatever must be fast is measured in processor time by the test that says so.
settings.register_profile("sealroom", deadline=None)
settings.load_profile("sealroom")
