"""Configuration of other proxies that follows the ready set, for those who outgrow one process (docs/SCALING.md).

`site` says what a proxy is to know, `haproxy` and `nginx` write it in their languages. Pure.
"""
