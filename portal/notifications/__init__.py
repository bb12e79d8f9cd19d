"""Mails on their way out; later also the inbox and preferences."""
