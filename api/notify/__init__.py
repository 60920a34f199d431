"""Telling people what is wrong and lasts.

`troubles` says what is wrong now, `episodes` what of it is to be told, `wording` in which words and form; these are
pure. `outbox` brings it to one address, and `notifier` is the task that does all this. The journal keeps what was told,
so that a restart neither repeats nor forgets it.
"""
