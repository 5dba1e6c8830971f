"""What is checked in a config before torch is imported: its classes and their arguments, the machine, files, the data.

A mistake is reported within a second or two, and before a folder is made, anything is downloaded or a net is built.
Nothing is refused here that the code which uses it would take: what is not certain is left to that code.
"""
