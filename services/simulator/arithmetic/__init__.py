"""Spoken and written arithmetic: text → expressions → values. Pure, no model behaviour in here."""
