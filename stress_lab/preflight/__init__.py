"""What can be checked in a config before torch is imported: classes and their arguments, machine, files, data.

A mistake is reported within a second or two, before a folder is made, anything is downloaded or a net is built. What is
found here is checked again by the code that uses it; this package holds only what a user would otherwise wait for.
"""
